"""ringfence.shares.ninep"""
