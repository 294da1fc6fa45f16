"""ringfence.shares"""
