; Copying and summing blocks: word loads and stores in a loop, between buffers of 1 MiB, some unaligned. 64-bit.
WORDS   equ     (1 << 20) / 8
work:   mov     ebp, 20 * SCALE
        mov     edi, FREE
        mov     ecx, WORDS + 1
        mov     rax, 0x0123456789ABCDEF
.fill:  mov     [rdi], rax
        imul    rax, rax, 0x5851F42D
        inc     rax
        add     rdi, 8
        dec     ecx
        jnz     .fill
.round: mov     esi, FREE + 3
        mov     edi, FREE + 0x400000
        mov     ecx, WORDS / 2
        xor     edx, edx
.copy:  mov     rax, [rsi]
        mov     rbx, [rsi + 8]
        mov     [rdi], rax
        mov     [rdi + 8], rbx
        add     rdx, rax
        xor     rdx, rbx
        add     rsi, 16
        add     rdi, 16
        dec     ecx
        jnz     .copy
        dec     ebp
        jnz     .round
        mov     rax, rdx
        shr     rax, 32
        xor     eax, edx
        ret
