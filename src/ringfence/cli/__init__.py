"""ringfence.cli"""
