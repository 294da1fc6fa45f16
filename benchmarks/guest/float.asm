; Floating point: the x87 with doubles, then SSE2 scalars and vectors, in an iterated map. 32-bit.
work:   mov     ecx, 400000 * SCALE
        fld1
        fld     qword [.a]
        fld     qword [.x]
.x87:   fld     st0
        fld     st3
        fsubrp  st1, st0
        fmulp   st1, st0
        fmul    st0, st1
        dec     ecx
        jnz     .x87
        fstp    qword [FREE]
        fstp    st0
        fstp    st0
        mov     ecx, 400000 * SCALE
        movsd   xmm0, [.x]
        movsd   xmm1, [.a]
        movsd   xmm2, [.one]
        pxor    xmm5, xmm5
        movups  xmm6, [.x]
.sse:   movapd  xmm3, xmm2
        subsd   xmm3, xmm0
        mulsd   xmm0, xmm3
        mulsd   xmm0, xmm1
        cvttsd2si eax, xmm0
        mulpd   xmm6, xmm6
        addpd   xmm5, xmm6
        paddd   xmm5, xmm6
        pxor    xmm6, xmm3
        dec     ecx
        jnz     .sse
        movd    eax, xmm5
        movd    edx, xmm0
        add     eax, edx
        xor     eax, [FREE + 4]
        ret
        align   16
.x:     dq      0.3141592653589793
.a:     dq      3.7
.one:   dq      1.0
