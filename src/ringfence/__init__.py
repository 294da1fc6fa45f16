"""Ringfence: a virtual machine monitor for people without /dev/kvm and without root."""
