"""ringfence.api"""
