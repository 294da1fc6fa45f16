"""ringfence.network.user"""
