# Thin on purpose: each target is one line that you could type yourself.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev up release plan prove mail-sink box load-image hosts validate bundle status graph token remove-parts drain uncordon remove-node replace-node add-nodes renew-certificates rotate-encryption-key rotate-ca upgrade backup restore reset down purge test test-long mutate lint bench lock outdated catalog

# Python and Ansible use the files of this checkout, whatever variables the caller's shell has (the Vagrantfile reads these names too).
# ANSIBLE_CONFIG is named, because Ansible ignores ansible.cfg in a folder that other users may write to.
unexport PYTHONHOME PYTHONPATH ANSIBLE_INVENTORY ANSIBLE_INVENTORY_ENABLED ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED
unexport ANSIBLE_COLLECTIONS_PATH ANSIBLE_ROLES_PATH ANSIBLE_LIBRARY ANSIBLE_MODULE_UTILS ANSIBLE_ACTION_PLUGINS ANSIBLE_FILTER_PLUGINS ANSIBLE_LOOKUP_PLUGINS ANSIBLE_CALLBACK_PLUGINS
unexport ANSIBLE_INVENTORY_PLUGINS ANSIBLE_CALLBACKS_ENABLED ANSIBLE_GATHERING ANSIBLE_PYTHON_INTERPRETER ANSIBLE_DUPLICATE_YAML_DICT_KEY
# For another cluster: make release KUBECONFIG=file KUBE_CONTEXT=name. Variables of the shell do not count.
 unexport $(filter K8S_AUTH_%,$(.VARIABLES))
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# A login over ssh may set a locale that this machine does not have, and Ansible needs a UTF-8 locale.
ifneq ($(shell locale charmap 2>&1),UTF-8)
export LC_ALL := C.UTF-8
endif

# with-docker adds the group docker, if the user became its member after the login.
ansible-playbook := scripts/with-docker .venv/bin/ansible-playbook

named = $(if $(filter command line,$(origin $(1))),$(2)=$($(1)))
elsewhere = $(if $(call named,KUBECONFIG,x),-e $(call named,KUBECONFIG,kubeconfig)) $(if $(call named,KUBE_CONTEXT,x),-e $(call named,KUBE_CONTEXT,kube_context))

node = $(if $(call named,NODE,x),-e $(call named,NODE,drain_node))

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what a run needs on this machine; it says first what that is
	@scripts/setup

setup-dev: setup ## The same, and what the tests and the lint need
	@scripts/setup-dev

up: setup ## Take this machine to a running cluster (a second run changes nothing)
	@$(ansible-playbook) playbooks/machines.yml playbooks/site.yml

release: setup ## Release an application: make release RELEASE=releases/sms-checker.yml
	@$(ansible-playbook) finalization.yml $(if $(RELEASE),-e release=$(RELEASE)) $(elsewhere)

plan: setup ## Show what a release would change, and change nothing: make plan RELEASE=releases/sms-checker.yml
	@$(ansible-playbook) playbooks/plan.yml $(if $(RELEASE),-e release=$(RELEASE)) $(elsewhere)

prove: setup ## Prove with requests that a release does what its page says: make prove RELEASE=releases/sms-checker.yml
	@$(ansible-playbook) playbooks/prove.yml $(if $(RELEASE),-e release=$(RELEASE)) $(elsewhere)

mail-sink: setup-dev ## Start a mail server in the cluster that keeps mails of alerts (STATE=absent removes it)
	@$(ansible-playbook) playbooks/mail-sink.yml -e prove_sink_state=$(or $(STATE),present)

box: ## Make a Vagrant box from Debian packages: make box SYSTEM=debian-13 PROVIDER=virtualbox (debian-12, libvirt)
	@scripts/setup box
	@.venv/bin/python -m slipway.lab.box $(if $(call named,SYSTEM,x),--$(call named,SYSTEM,system)) $(if $(call named,PROVIDER,x),--$(call named,PROVIDER,provider))

load-image: setup ## Put an image that you built onto the mirror: make load-image IMAGE=shop/web:dev (or ./web.tar)
	@$(ansible-playbook) playbooks/load-image.yml -e "load_image=$(IMAGE)"

hosts: setup ## Write the host names of the releases into /etc/hosts of this machine (STATE=absent removes them)
	@$(ansible-playbook) playbooks/hosts.yml -e hosts_state=$(or $(STATE),present)

validate: setup ## Check group_vars/all/cluster.yml, and touch no machine
	@$(ansible-playbook) playbooks/validate.yml

bundle: setup ## Only get the files and images that the cluster needs
	@$(ansible-playbook) playbooks/artifacts.yml

status: setup ## Show nodes, pods, targets, alerts and certificates; fail if something is wrong (another cluster: KUBECONFIG=file KUBE_CONTEXT=name)
	@.venv/bin/python -m slipway.status $(call named,KUBECONFIG,--kubeconfig) $(call named,KUBE_CONTEXT,--context)

graph: setup ## Draw the objects of a namespace and their connections: make graph NAMESPACE=default
	@.venv/bin/python -m slipway.status.graph $(or $(NAMESPACE),default)

token: setup ## Print a token for Headlamp that may look for an hour (MINUTES=480; PART=kiali for Kiali)
	@.venv/bin/python -m slipway.status.login $(call named,PART,--part) $(call named,MINUTES,--minutes)

remove-parts: setup ## Remove the parts that are off in cluster_parts and still in the cluster
	@$(ansible-playbook) playbooks/remove-parts.yml

drain: setup ## Move the pods of a node to others, for its maintenance: make drain NODE=node-2 (CHECK=1 shows the plan alone, FORCE=1 deletes what does not move)
	@$(ansible-playbook) playbooks/drain.yml $(node) $(if $(CHECK),--check) $(if $(FORCE),-e drain_force=true)

uncordon: setup ## Let pods come to a node again: make uncordon NODE=node-2 (CHECK=1 shows the plan alone)
	@$(ansible-playbook) playbooks/uncordon.yml $(node) $(if $(CHECK),--check)

remove-node: setup ## Take a node and its machine away: make remove-node NODE=node-2 (CHECK=1 shows the plan alone, FORCE=1 also with its volumes)
	@$(ansible-playbook) playbooks/remove-node.yml $(node) $(if $(CHECK),--check) $(if $(FORCE),-e drain_force=true)

replace-node: setup ## The same, and make it anew: make replace-node NODE=node-1 (CHECK=1 shows the plan of the removal)
	@$(ansible-playbook) playbooks/remove-node.yml $(if $(CHECK),--check,playbooks/machines.yml playbooks/site.yml) $(node) $(if $(FORCE),-e drain_force=true)

add-nodes: setup ## Add the nodes that the page has and the cluster does not, and leave the other workers as they are (CHECK=1 shows the plan alone)
	@$(ansible-playbook) playbooks/machines.yml $(if $(CHECK),playbooks/add-nodes-plan.yml --check,playbooks/add-nodes.yml)

renew-certificates: setup ## Renew the certificates of the control plane that end within 180 days (DAYS=400: all of them)
	@$(ansible-playbook) playbooks/renew-certificates.yml $(if $(call named,DAYS,x),-e $(call named,DAYS,renew_days))

rotate-encryption-key: setup ## Replace the key that encrypts Secrets in etcd, and write all of them again
	@$(ansible-playbook) playbooks/rotate-encryption-key.yml

rotate-ca: setup ## Replace the CAs of the cluster and the key of service accounts (CHECK=1 shows the plan, RESTART=1 restarts your workloads, too)
	@$(ansible-playbook) playbooks/rotate-ca.yml $(if $(CHECK),--check) $(if $(RESTART),-e rotate_restart=true) $(if $(FORCE),-e rotate_force=true) $(if $(filter none,$(BACKUP)),-e rotate_backup=false)

upgrade: setup ## Take the cluster to the Kubernetes release of the page (CHECK=1 shows the plan alone)
	@$(ansible-playbook) playbooks/upgrade.yml $(if $(CHECK),--check) $(if $(FORCE),-e upgrade_force=true) $(if $(filter none,$(BACKUP)),-e upgrade_backup=false)

backup: setup ## Save the cluster into one encrypted archive on this machine (without data of volumes)
	@$(ansible-playbook) playbooks/backup.yml

restore: setup ## Make the cluster again out of a backup: make restore BACKUP=file IDENTITY=file-with-your-key
	@$(ansible-playbook) playbooks/restore.yml $(if $(call named,BACKUP,x),-e "$(call named,BACKUP,backup)") $(if $(call named,IDENTITY,x),-e "$(call named,IDENTITY,identity)")

reset: setup ## Take your own hosts out of their cluster, which is gone then; it asks first (CHECK=1 shows the plan alone)
	@$(ansible-playbook) playbooks/reset.yml $(if $(CHECK),--check)

down: setup ## Remove machines, networks, volumes and the kubeconfig
	@$(ansible-playbook) playbooks/down.yml

purge: setup ## Remove also what down keeps: packages, cache, reports, CA (names them first)
	@$(ansible-playbook) playbooks/purge.yml

test: setup-dev ## Lint, unit tests, one cluster from nothing, a scenario per role (FAST=1: quick lint and unit tests, in a minute)
	@scripts/with-docker tests/run $(if $(FAST),--fast)

test-long: setup-dev ## Tests that take longer: every fault, all releases, mutations, the bench (RESUME=1: leave out what has passed)
	@scripts/setup-dev long
	@scripts/with-docker tests/run --long $(if $(RESUME),--resume)

mutate: setup-dev ## Put a defect into each role, and show that its scenario fails
	@scripts/with-docker .venv/bin/python -m tests.mutations

lint: setup-dev ## Ruff, mypy, yamllint, ansible-lint at production, shellcheck
	@tests/lint

bench: setup-dev ## Times of make up, against a shell script
	@scripts/with-docker bench/run

lock: setup-dev ## Renew requirements.txt and requirements-dev.txt from the .in files
	@scripts/lock

outdated: setup-dev ## List what lags behind the registries: programs, images, packages (ALL=1 shows everything, JSON=1 for machines)
	@.venv/bin/python -m slipway.artifacts.outdated $(if $(ALL),--all) $(if $(JSON),--json)

catalog: setup ## Take a Kubernetes into the catalog: make catalog KUBERNETES=1.37.2 (DEFAULT=1 ships it; WITHOUT=1.36.3 takes one out)
	@.venv/bin/python -m slipway.artifacts.releases $(call named,KUBERNETES,--kubernetes) $(if $(DEFAULT),--default) $(call named,WITHOUT,--without)
