"""ringfence.devices.pci"""
