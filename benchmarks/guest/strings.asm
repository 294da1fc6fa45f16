; String instructions: REP MOVS, STOS, SCAS and CMPS in the lengths that libraries use. 64-bit.
work:   mov     ebp, 40000 * SCALE
        xor     ebx, ebx
        mov     r8d, 1
.round: mov     edi, FREE
        mov     ecx, 256
        mov     eax, ebp
        rep     stosb
        mov     byte [FREE + 200], 0x5A
        mov     esi, FREE
        mov     edi, FREE + 0x10000
        mov     ecx, 256 / 8
        rep     movsq
        mov     edi, FREE + 0x10000
        mov     ecx, 256
        mov     al, 0x5A
        repne   scasb
        add     ebx, ecx
        mov     esi, FREE
        mov     edi, FREE + 0x10000
        mov     ecx, 64
        repe    cmpsb
        setz    al
        movzx   eax, al
        add     ebx, eax
        mov     esi, FREE
        mov     ecx, 32
.load:  lodsb
        movzx   eax, al
        rol     ebx, 1
        add     ebx, eax
        dec     ecx
        jnz     .load
        dec     ebp
        jnz     .round
        mov     eax, ebx
        ret
