"""ringfence.disk"""
