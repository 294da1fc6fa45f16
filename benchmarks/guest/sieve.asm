; The sieve of Eratosthenes over one byte a number: single stores with a stride, then a counting scan. 32-bit.
COUNT   equ     1 << 20
work:   mov     ebp, 3 * SCALE
.round: mov     edi, FREE
        mov     ecx, COUNT / 4
        mov     eax, 0x01010101
        rep     stosd
        mov     esi, 2
.prime: cmp     byte [FREE + esi], 0
        je      .composite
        lea     edi, [esi + esi]
.strike:
        cmp     edi, COUNT
        jae     .composite
        mov     byte [FREE + edi], 0
        add     edi, esi
        jmp     .strike
.composite:
        inc     esi
        cmp     esi, 1024
        jb      .prime
        xor     eax, eax
        mov     esi, 2
.count: movzx   edx, byte [FREE + esi]
        add     eax, edx
        inc     esi
        cmp     esi, COUNT
        jb      .count
        dec     ebp
        jnz     .round
        ret
