; A 64 KiB ROM that does one piece of work, prints its 32-bit result and stops: the same bytes for every machine.
; Intel SDM vol. 3, chapters 10.1.4 (reset), 10.9 (mode switching), 10.8.5 (IA-32e mode).
;
; Assembled with -DWORK='"name.asm"' -DLONG=0|1 -DSCALE=n. The work is `work`, called in 32-bit protected mode or in
; 64-bit mode, flat segments, paging on (identity, large pages for the first 64 MiB), ring 0, interrupts off. It
; returns its result in eax; it may use everything from FREE on, up to RAM_END.

        cpu     x64
BASE    equ     0x10000                 ; where the ROM copies itself to
TABLES  equ     0x30000                 ; page tables of the start, six pages
IDT     equ     0x38000                 ; for a work that wants one
STACK   equ     0x90000
FREE    equ     0x200000
RAM_END equ     0x2000000               ; 32 MiB

PORT_DEBUG_EXIT equ 0xF4                ; Ringfence, QEMU
PORT_DEBUG      equ 0xE9                ; Bochs
PORT_SERIAL     equ 0x3F8               ; Ringfence, QEMU
PORT_SHUTDOWN   equ 0x8900              ; Bochs: the word Shutdown ends it

        org     BASE
        bits    16
start:
        cli
        cld
        mov     ax, 0xF000
        mov     ds, ax
        mov     ax, BASE >> 4
        mov     es, ax
        xor     si, si
        xor     di, di
        mov     cx, 0x8000
        rep     movsw
        jmp     (BASE >> 4):(in_ram - BASE)

in_ram:
        mov     ds, ax
        in      al, 0x92                ; A20
        or      al, 2
        and     al, 0xFE
        out     0x92, al
        o32 lgdt [gdt_pointer - BASE]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword 0x08:protected

        bits    32
protected:
        mov     ax, 0x10
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     fs, ax
        mov     gs, ax
        mov     esp, STACK
        mov     edi, TABLES
        mov     ecx, 6 * 4096 / 4
        xor     eax, eax
        rep     stosd
        mov     eax, cr0                ; FPU and SSE: MP, NE on; EM, TS off
        and     eax, ~0xC
        or      eax, 0x22
        mov     cr0, eax
        mov     eax, cr4
        or      eax, 0x610              ; OSXMMEXCPT, OSFXSR, PSE
        mov     cr4, eax
        fninit
%if LONG
        mov     dword [TABLES], TABLES + 0x1003
        mov     dword [TABLES + 0x1000], TABLES + 0x2003
        mov     edi, TABLES + 0x2000    ; 32 pages of 2 MiB
        mov     eax, 0x83
        mov     ecx, 32
.page:  mov     [edi], eax
        add     eax, 0x200000
        add     edi, 8
        loop    .page
        mov     eax, cr4
        or      eax, 0x20               ; PAE
        mov     cr4, eax
        mov     eax, TABLES
        mov     cr3, eax
        mov     ecx, 0xC0000080         ; EFER.LME
        rdmsr
        or      eax, 0x100
        wrmsr
        mov     eax, cr0
        or      eax, 0x80000000
        mov     cr0, eax
        jmp     0x18:long_mode
        bits    64
long_mode:
        mov     rsp, STACK
%else
        mov     edi, TABLES             ; 16 pages of 4 MiB
        mov     eax, 0x83
        mov     ecx, 16
.page:  mov     [edi], eax
        add     eax, 0x400000
        add     edi, 4
        loop    .page
        mov     eax, TABLES
        mov     cr3, eax
        mov     eax, cr0
        or      eax, 0x80000000
        mov     cr0, eax
        jmp     $ + 2
%endif
        call    work
        mov     ebx, eax
        mov     ecx, 8
.digit: rol     ebx, 4
        mov     al, bl
        and     al, 0x0F
        cmp     al, 10
        jb      .decimal
        add     al, 'A' - '0' - 10
.decimal:
        add     al, '0'
        call    put
        dec     ecx
        jnz     .digit
        mov     al, 10
        call    put
        mov     esi, shutdown
        mov     ecx, 8
        mov     dx, PORT_SHUTDOWN
        rep     outsb
        xor     eax, eax
        out     PORT_DEBUG_EXIT, al
        hlt
        jmp     $

put:    mov     dx, PORT_SERIAL
        out     dx, al
        out     PORT_DEBUG, al
        ret

shutdown:
        db      "Shutdown"

        align   8
gdt:    dq      0
        dq      0x00CF9B000000FFFF      ; 08 code, 32-bit
        dq      0x00CF93000000FFFF      ; 10 data
        dq      0x00AF9B000000FFFF      ; 18 code, 64-bit
gdt_pointer:
        dw      $ - gdt - 1
        dd      gdt

        align   64
%include WORK

        times   0xFFF0 - ($ - $$) db 0xFF
        bits    16
        jmp     0xF000:(start - BASE)
        times   0x10000 - ($ - $$) db 0xFF
