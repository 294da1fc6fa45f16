# What the translator has made, as plain data for tools.
from ringfence.core.x86.state cimport Cpu

# api.translations.Translations, or None where nothing was ever translated. Not while guest code runs.
cdef object inspect_translations(Cpu* cpu)
