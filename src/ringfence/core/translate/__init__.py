"""ringfence.core.translate"""
