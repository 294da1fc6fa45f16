"""ringfence.core"""
