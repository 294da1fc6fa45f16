"""ringfence.network"""
