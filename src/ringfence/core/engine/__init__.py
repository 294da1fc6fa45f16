"""ringfence.core.engine"""
