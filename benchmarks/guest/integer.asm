; Arithmetic, logic, shifts and branches on registers: a xorshift generator and a data-dependent branch. 64-bit.
work:   mov     rcx, 3000000 * SCALE
        mov     rax, 0x9E3779B97F4A7C15
        xor     edx, edx
.next:  mov     rbx, rax
        shl     rbx, 13
        xor     rax, rbx
        mov     rbx, rax
        shr     rbx, 7
        xor     rax, rbx
        mov     rbx, rax
        shl     rbx, 17
        xor     rax, rbx
        test    al, 1
        jz      .even
        lea     rdx, [rdx + rax * 2 + 5]
        imul    rsi, rdx, 31
        add     edx, esi
        jmp     .odd
.even:  sub     rdx, rax
        rol     edx, 3
        adc     edx, 0
.odd:   dec     rcx
        jnz     .next
        mov     eax, edx
        ret
