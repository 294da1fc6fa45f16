"""ringfence.core.host"""
