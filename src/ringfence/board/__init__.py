"""ringfence.board"""
