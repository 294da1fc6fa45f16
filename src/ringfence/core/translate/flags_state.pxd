# Guest flags between the host's flags register and cpu.saved_flags.
from ringfence.core.translate.builder cimport Builder

# Put the host's flags by, if any are `live` and that is not done yet; changes none. Uses s0.
cdef void save_flags(Builder* b, int live) noexcept nogil
# Make the host's flags the guest's, as far as `needed` and `kept`. Uses no scratch register.
cdef void restore_flags(Builder* b, int needed, int kept) noexcept nogil
