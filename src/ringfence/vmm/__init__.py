"""ringfence.vmm"""
