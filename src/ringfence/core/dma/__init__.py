"""ringfence.core.dma"""
