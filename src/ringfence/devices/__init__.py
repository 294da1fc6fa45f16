"""ringfence.devices"""
