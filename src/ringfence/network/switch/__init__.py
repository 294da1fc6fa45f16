"""ringfence.network.switch"""
