"""ringfence.devices.virtio"""
