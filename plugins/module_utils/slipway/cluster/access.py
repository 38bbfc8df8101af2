"""How a cluster is reached: a kubeconfig, and options and variables by the names that kubernetes.core has for them.

``K8S_AUTH_…`` variables and the shell's proxy count for clusters that somebody else made. The cluster of this checkout
is reached by its own kubeconfig alone, whatever the shell says.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ..artifacts.cache import default_root
from ..errors import SlipwayError
from ..paths import state_folder
from .kubeconfig import answering, decides, lost

# Seconds to connect and shake hands, and to wait for each part of an answer.
TIMEOUT = (15.0, 30.0)
# Seconds for which a question is asked again where the API server says 429 and when to come again: when a controller
# was lost, it has nothing to read from for a moment.
AGAIN = 15.0
# The client library keeps the files that it writes in a global.
_LOCK = threading.Lock()
_IMPERSONATION = ("impersonate_user", "impersonate_groups")
# How the text of a variable is read, by the type of the option.
_READ: dict[str | None, Callable[[str], Any]] = {
    "bool": lambda text: text.lower() not in ("0", "false", "no"),
    "list": lambda text: [part for part in text.split(",") if part],
}
# Kubeconfigs of labs that this process works for, besides the one that the environment tells.
_OWN: set[Path] = set()


class UnansweredError(SlipwayError):
    """A question got no good answer; the text says why.

    ``status`` is that of HTTP, 0 for none; ``said`` what the API server had to say, or why it is silent.
    """

    def __init__(self, error_id: str, text: str, status: int = 0, said: str = "") -> None:
        super().__init__(error_id, text)
        self.status, self.said = status, said or text


class BusyError(UnansweredError):
    """No answer, or one that says: not now."""


def load() -> None:
    """Import what tasks need to reach a cluster: once, in the process that all workers of Ansible are copies of."""
    import_module("kubernetes.client")
    import_module("kubernetes.config")
    for name in ("args_common", "client.discovery", "k8sdynamicclient"):
        import_module(f"ansible_collections.kubernetes.core.plugins.module_utils.{name}")


def arguments() -> dict[str, Any]:
    """Give the options that say how a cluster is reached, those of kubernetes.core's modules, as an argument spec."""
    from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

    return {name: dict(spec) for name, spec in AUTH_ARG_SPEC.items()}


def given(task: Mapping[str, Any]) -> dict[str, Any]:
    """Give those of a task's arguments that say how a cluster is reached, without the empty ones."""
    found = {name: task[name] for name in arguments() if task.get(name) not in (None, "")}
    path = found.get("kubeconfig")
    return {**found, "kubeconfig": _expanded(str(path))} if isinstance(path, str | Path) else found


def _expanded(paths: str) -> str:
    """Put homes in the place of ``~`` in paths that stand in one text."""
    return os.pathsep.join(os.path.expanduser(path) for path in paths.split(os.pathsep))


def work_for(state: Path) -> None:
    """Know the kubeconfig in the state folder of a lab as the own one, whatever the environment says."""
    _OWN.add((state / "kubeconfig").resolve())


def is_own(options: Mapping[str, Any]) -> bool:
    """Tell whether these options mean the cluster of this checkout."""
    path = options.get("kubeconfig")
    own = {*_OWN, (state_folder() / "kubeconfig").resolve()}
    return isinstance(path, str) and Path(_expanded(path)).resolve() in own


def settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give what kubernetes.core would be told: the ``options``, and variables in the place of what they leave open."""
    from ansible_collections.kubernetes.core.plugins.module_utils.args_common import (
        AUTH_ARG_MAP,
        AUTH_ARG_SPEC,
        AUTH_PROXY_HEADERS_SPEC,
    )

    shell: Mapping[str, str] = {} if is_own(options) else os.environ
    found: dict[str, Any] = {}
    for attribute, option in {**AUTH_ARG_MAP, **{name: name for name in _IMPERSONATION}}.items():
        value = options.get(option)
        if value is None and option == "proxy_headers":
            told = {name: shell.get(f"K8S_AUTH_PROXY_HEADERS_{name.upper()}") for name in AUTH_PROXY_HEADERS_SPEC}
            value = told if any(told.values()) else None
        elif value is None:
            said = shell.get(f"K8S_AUTH_{option.upper()}") or shell.get(f"K8S_AUTH_{attribute.upper()}")
            value = said and _READ.get(AUTH_ARG_SPEC[option].get("type"), str)(said)
        if value is not None:
            found[attribute] = value
    return found


def is_missing(options: Mapping[str, Any]) -> bool:
    """Tell whether the kubeconfig that these options name is not there, as before the first `make up`."""
    path = options.get("kubeconfig")
    return isinstance(path, str) and not any(Path(one).is_file() for one in _expanded(path).split(os.pathsep) if one)


def of_kubectl(task: Mapping[str, Any]) -> dict[str, Any]:
    """Give the kubeconfig and the context that kubectl needs for what a task's arguments name. Raises SlipwayError.

    Tokens and passwords would stand in its arguments, where every user of this machine reads them.
    """
    told = settings(given(task))
    strange = sorted(set(told) - {"kubeconfig", "context"})
    if strange or not isinstance(told.get("kubeconfig"), str):
        raise SlipwayError(
            "kubeconfig-only",
            f"a proof runs kubectl, which takes a kubeconfig and a context only, not {', '.join(strange) or 'none'}\n"
            "  works: -e kubeconfig=~/.kube/config -e kube_context=name",
        )
    path, own = _expanded(told["kubeconfig"]), is_own(given(task))
    context = told.get("context", "") or (answering(_parsed(path)) if own else "")
    return {"kubeconfig": path, "context": context, "proxied": not own}


def without_quorum(options: Mapping[str, Any]) -> str:
    """Say which controllers of the own cluster are lost, where that are so many that etcd decides nothing; else ``""``.

    Takes up to a second: it is asked where a question got no answer.
    """
    if not is_own(options) or is_missing(options):
        return ""
    silent, number = lost(_parsed(str(options["kubeconfig"])))
    if number < 2 or decides(silent, number):
        return ""
    needed = number // 2 + 1
    return (
        f"{' and '.join(silent)} do not answer, and etcd needs {needed} of its {number} members. Until enough of them "
        "are back, the cluster decides nothing, and no command can change it; pods and the gateway go on. What to do: "
        "docs/how-to/troubleshooting.md#most-controllers-are-lost"
    )


def connect(options: Mapping[str, Any], timeout: tuple[float, float] = TIMEOUT, tries: int = 2) -> Any:
    """Make the client (``kubernetes.client.ApiClient``). Nothing is asked. Raises SlipwayError for unusable options.

    What is asked is asked so many times where no answer comes, as the server may have closed a connection that lay
    idle; all that is asked of it can be asked twice. Who has more than one try also comes again to read what the server
    has not yet.
    """
    import urllib3
    from kubernetes.client import ApiClient, ApiException
    from kubernetes.config import kube_config

    class Client(ApiClient):
        """One that gives up on a server that says nothing, and whose answers are read."""

        def call_api(self, *arguments: Any, _request_timeout: Any = None, **more: Any) -> Any:
            failed, until = 0, time.monotonic() + (AGAIN if tries > 1 and arguments[0] == "GET" else 0)
            while True:
                try:
                    answer = super().call_api(*arguments, _request_timeout=_request_timeout or timeout, **more)
                    answer.read()
                except (urllib3.exceptions.HTTPError, ApiException):
                    failed += 1
                    if failed >= tries:
                        raise
                    continue
                if answer.status != 429 or not answer.getheader("Retry-After") or time.monotonic() > until:
                    return answer
                time.sleep(1)

    told = settings(options)
    with _LOCK:
        try:
            client = Client(_configuration(options, told))
            _hold_certificates(client.rest_client.pool_manager.connection_pool_kw)
        except ImportError as exc:
            raise SlipwayError(
                "package-missing", f"{_named(options)}: its proxy needs the Python package {exc.name}"
            ) from exc
        except urllib3.exceptions.ProxySchemeUnknown as exc:
            raise SlipwayError("kubeconfig-wrong", f"{_named(options)}: its proxy cannot be used: {exc}") from exc
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as exc:
            raise SlipwayError(
                "kubeconfig-wrong", f"{_named(options)}: its certificates cannot be used: {exc}"
            ) from exc
        finally:
            # Ansible's workers end without the handler that removes these files, and they hold keys.
            kube_config._cleanup_temp_files()  # noqa: SLF001
    _impersonate(client, told)
    return client


def discover(client: Any) -> Any:
    """Make kubernetes.core's dynamic client, which knows kinds. What it has learnt is kept in the user's cache."""
    from ansible_collections.kubernetes.core.plugins.module_utils.client.discovery import LazyDiscoverer
    from ansible_collections.kubernetes.core.plugins.module_utils.k8sdynamicclient import K8SDynamicClient

    return K8SDynamicClient(client, cache_file=_kinds_file(client.configuration.host), discoverer=LazyDiscoverer)


@contextmanager
def asking(server: str) -> Iterator[None]:
    """Tell in our own words where the dynamic client gets no good answer."""
    import urllib3
    from kubernetes.client import ApiException
    from kubernetes.dynamic.exceptions import DynamicApiError

    try:
        yield
    except DynamicApiError as exc:
        if not exc.status:
            raise silent(server, exc) from exc
        error = BusyError if exc.status == 429 or exc.status >= 500 else UnansweredError
        said = f"the API server does not say which kinds it knows: {exc.status} {exc.reason}"
        raise error("api-refuses", said, exc.status) from exc
    except (urllib3.exceptions.HTTPError, ApiException, ValueError) as exc:
        raise silent(server, exc) from exc


def _impersonate(client: Any, told: Mapping[str, Any]) -> None:
    """Ask in somebody else's name, where that is said."""
    if told.get("impersonate_user"):
        client.set_default_header("Impersonate-User", told["impersonate_user"])
    groups = told.get("impersonate_groups") or []
    if groups:
        from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import unique_string
    for group in groups:
        client.set_default_header(unique_string("Impersonate-Group"), group)


def silent(server: str, why: Exception) -> BusyError:
    """Say that an API server does not answer."""
    reason = _reason(why)
    said = f"{server} does not answer ({reason})"
    return BusyError("api-silent", f"the cluster does not answer at {server}: {reason}; see `make status`", said=said)


def _reason(why: Exception) -> str:
    inner = getattr(why, "reason", None)
    return str(inner if inner else why).strip().replace("\n", ": ")


def _named(options: Mapping[str, Any]) -> str:
    path = options.get("kubeconfig")
    return str(path) if isinstance(path, str | Path) else "the kubeconfig"


def _configuration(options: Mapping[str, Any], said: Mapping[str, Any]) -> Any:
    """Read the kubeconfig that is meant, and put the other settings over it; ``said`` is all that is told."""
    import yaml
    from kubernetes import client, config

    told = {name: value for name, value in said.items() if name not in _IMPERSONATION}
    own = is_own(options)
    made = client.Configuration()
    # Each question is asked anew by whoever can tell what may be asked twice.
    made.retries = False
    if own:
        # It is on the node network, whatever proxy this machine's user goes through.
        made.proxy = None
    kubeconfig, context = told.pop("kubeconfig", None), told.pop("context", None)
    persist = {"persist_config": told.pop("persist_config")} if "persist_config" in told else {}
    by_options = told.get("host") and (
        told.get("api_key") or (told.get("username") and told.get("password")) or told.get("cert_file")
    )
    try:
        if by_options:
            # As kubernetes.core: no certificate of a kubeconfig goes to a host that is named beside it.
            pass
        elif isinstance(kubeconfig, Mapping):
            config.load_kube_config_from_dict(dict(kubeconfig), context, made)
        elif not kubeconfig:
            raise SlipwayError("no-cluster-named", "no cluster is named: give a kubeconfig, or host and api_key")
        elif own:
            # It names no other files, and the reader in C takes a tenth of the time.
            content = _parsed(kubeconfig)
            # With several controllers, whichever of them answers.
            config.load_kube_config_from_dict(content, context or answering(content) or None, made)
        else:
            _there(kubeconfig)
            config.load_kube_config(kubeconfig, context, made, **persist)
    except (config.ConfigException, yaml.YAMLError, ValueError, TypeError, AttributeError) as exc:
        why = str(exc).removeprefix("Invalid kube-config file. ")
        raise SlipwayError("kubeconfig-wrong", f"{_named(options)} is no kubeconfig that can be used: {why}") from exc
    _put_over(made, _attributes(told))
    return made


def _parsed(kubeconfig: str) -> Any:
    import yaml

    return yaml.load(_there(kubeconfig), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


def _attributes(told: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is told beside the kubeconfig as attributes of a configuration."""
    import urllib3

    found = dict(told)
    if "host" in found:
        found["host"] = found["host"].rstrip("/")
    if "proxy_headers" in found:
        headers = {name: value for name, value in found["proxy_headers"].items() if value}
        found["proxy_headers"] = urllib3.util.make_headers(**headers)
    if "api_key" in found:
        found["api_key"] = {"BearerToken": f"Bearer {found['api_key']}"}
    elif found.get("username") and found.get("password"):
        basic = urllib3.util.make_headers(basic_auth=f"{found['username']}:{found['password']}")
        found["api_key"] = {"BearerToken": basic["authorization"]}
    return found


def _put_over(made: Any, attributes: Mapping[str, Any]) -> None:
    """Set attributes, and again after the library has renewed a token: it writes all of the kubeconfig anew then."""

    def over(configuration: Any) -> None:
        for name, value in attributes.items():
            setattr(configuration, name, value)

    over(made)
    renew = made.refresh_api_key_hook
    if attributes and renew:

        def renewed(configuration: Any) -> None:
            renew(configuration)
            over(configuration)

        made.refresh_api_key_hook = None if "api_key" in attributes else renewed


def _there(kubeconfig: str) -> str:
    """Read a kubeconfig, the first that is there of several in one text. Refuse it with the words of the system."""
    problem = SlipwayError("kubeconfig-missing", f"{kubeconfig}: names no file")
    for path in _expanded(kubeconfig).split(os.pathsep):
        if path:
            try:
                return Path(path).read_text(encoding="utf-8")
            except OSError as exc:
                problem = SlipwayError(
                    "kubeconfig-missing", f"{path}: {exc.strerror}: `make up` makes the cluster and this file"
                )
    raise problem


def _hold_certificates(pool: dict[str, Any]) -> None:
    """Read the certificates of a ``pool`` of connections now, once for all of them, so that their files can go."""
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context(cert_reqs=pool["cert_reqs"])
    # Python 3.13 wants extensions that not every Kubernetes CA has.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    authority, data = pool.pop("ca_certs", None), pool.pop("ca_cert_data", None)
    certificate, key = pool.pop("cert_file", None), pool.pop("key_file", None)
    if authority or data:
        context.load_verify_locations(authority, cadata=data)
    elif pool["cert_reqs"] == ssl.CERT_REQUIRED:
        context.load_default_certs()
    if certificate:
        context.load_cert_chain(certificate, key)
    pool["ssl_context"] = context


def _kinds_file(server: str) -> str:
    """Give the file that keeps which kinds an API server knows. What it lacks is asked, and added."""
    folder = default_root() / "kinds"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return os.devnull
    return str(folder / f"{hashlib.sha256(server.encode()).hexdigest()[:16]}.json")
