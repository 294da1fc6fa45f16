"""ringfence.core.memory"""
