"""ringfence.core.x86"""
