# Evaluates a Vagrantfile with a stand-in for Vagrant and prints what it configures as JSON: no machine, no plugin is needed.
# Usage: ruby vagrantfile.rb <Vagrantfile> <vagrant's arguments>
require "json"
require "ostruct"

# A provider's settings; what is said more than once is kept by its first word.
class Provider < OpenStruct
  def memorybacking(what, **options) = (self[:backing] ||= {})[what] = options
end

# One machine, or what holds for all of them.
class Vm < OpenStruct
  attr_reader :machines, :seen

  def initialize
    super
    @machines = {}
    @seen = { networks: [], folders: [], providers: {}, provisioners: {} }
  end

  def network(kind, **options) = @seen[:networks] << { kind: kind, **options }

  def synced_folder(from, to, **options) = @seen[:folders] << { from: from, to: to, **options }

  def provider(name) = yield(@seen[:providers][name] ||= Provider.new)

  def provision(name, **options)
    yield(@seen[:provisioners][name] ||= OpenStruct.new(options))
  end

  def define(name, **options)
    node = Config.new
    node.vm.options = options
    yield node
    @machines[name] = node.vm
  end

  def told
    open = ->(settings) { settings.transform_values(&:to_h) }
    { **to_h, **@seen, providers: open.(@seen[:providers]), provisioners: open.(@seen[:provisioners]) }
  end
end

class Config
  attr_reader :vm, :ssh

  def initialize
    @vm = Vm.new
    @ssh = OpenStruct.new
  end
end

module Vagrant
  # What is installed: all that are named, or vagrant-libvirt.
  def self.has_plugin?(name) = (ENV["STANDIN_PLUGINS"] || "vagrant-libvirt").split.include?(name)

  def self.configure(_version)
    $config = Config.new
    yield $config
  end

  module Util
    module Env
      def self.with_original_env = yield
    end
  end
end

module VagrantPlugins
  module DockerProvider
    class Driver; end
  end
end

load ARGV.shift
machines = $config.vm.machines.transform_values(&:told)
puts JSON.dump({ environment: ENV.to_h, all: $config.vm.told, ssh: $config.ssh.to_h, machines: machines })
