; What a kernel's entry does: software interrupts, exceptions and their returns, CPUID, reads of control registers. 32-bit.
VECTOR  equ     0x80
work:   mov     dword [IDT + VECTOR * 8], (0x08 << 16) | (handler - $$)
        mov     dword [IDT + VECTOR * 8 + 4], BASE | 0xEE00
        mov     dword [IDT + 6 * 8], (0x08 << 16) | (undefined - $$)
        mov     dword [IDT + 6 * 8 + 4], BASE | 0x8E00
        lidt    [.idtr]
        mov     ecx, 250000 * SCALE
        xor     ebx, ebx
.next:  int     VECTOR
        ud2
        mov     eax, cr0
        xor     ebx, eax
        mov     eax, cr2
        xor     ebx, eax
        pushfd
        pop     eax
        add     ebx, eax
        mov     eax, ds
        mov     es, ax
        dec     ecx
        jnz     .next
        mov     eax, ebx
        ret
.idtr:  dw      0x7FF
        dd      IDT
handler:
        push    ds
        add     ebx, ecx
        pop     ds
        iretd
undefined:
        add     dword [esp], 2
        iretd
