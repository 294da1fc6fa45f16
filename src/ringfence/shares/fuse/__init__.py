"""ringfence.shares.fuse"""
