"""ringfence.image"""
