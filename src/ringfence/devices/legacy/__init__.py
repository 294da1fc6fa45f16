"""ringfence.devices.legacy"""
