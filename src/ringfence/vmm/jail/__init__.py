"""ringfence.vmm.jail"""
