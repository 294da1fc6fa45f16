; Page-table walks: accesses to random 4 KiB pages of 16 MiB, more than a TLB holds, and now and then a new CR3. 64-bit.
PAGES   equ     4096
WINDOW  equ     0x40000000              ; linear: the second GiB
PD      equ     TABLES + 0x3000
PT      equ     FREE                    ; eight page tables
DATA    equ     0x800000                ; physical, 16 MiB
work:   mov     qword [TABLES + 0x1008], PD + 3
        mov     edi, PD
        mov     eax, PT + 3
        mov     ecx, PAGES / 512
.table: mov     [rdi], rax
        add     rax, 0x1000
        add     rdi, 8
        dec     ecx
        jnz     .table
        mov     edi, PT
        mov     eax, DATA + 3
        mov     ecx, PAGES
.entry: mov     [rdi], rax
        add     rax, 0x1000
        add     rdi, 8
        dec     ecx
        jnz     .entry
        mov     rax, cr3
        mov     cr3, rax
        mov     ecx, 1500000 * SCALE
        mov     eax, 1
        xor     edx, edx
.next:  imul    eax, eax, 1103515245
        add     eax, 12345
        mov     ebx, eax
        shr     ebx, 8
        and     ebx, (PAGES << 12) - 8
        add     [rbx + WINDOW], eax
        add     edx, [rbx + WINDOW]
        test    ecx, 0xFFF
        jnz     .same
        mov     rsi, cr3
        mov     cr3, rsi
.same:  dec     ecx
        jnz     .next
        mov     eax, edx
        ret
