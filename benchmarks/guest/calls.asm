; Calls, returns and a stack: the naive Fibonacci numbers, with a frame. 32-bit.
work:   mov     ebp, 2 * SCALE
        xor     edi, edi
.round: push    26
        call    fibonacci
        add     esp, 4
        add     edi, eax
        dec     ebp
        jnz     .round
        mov     eax, edi
        ret
fibonacci:
        push    ebp
        mov     ebp, esp
        push    ebx
        mov     eax, [ebp + 8]
        cmp     eax, 2
        jb      .done
        lea     ecx, [eax - 1]
        push    ecx
        call    fibonacci
        mov     ebx, eax
        mov     ecx, [ebp + 8]
        sub     ecx, 2
        mov     [esp], ecx
        call    fibonacci
        add     esp, 4
        add     eax, ebx
.done:  pop     ebx
        pop     ebp
        ret
