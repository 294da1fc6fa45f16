"""ringfence.vmm.jail: rights that a VMM process gives up; see `jail.jail`."""

from ringfence.vmm.jail.jail import Plan, enter, prepare

__all__ = ["Plan", "enter", "prepare"]
