        .intel_syntax noprefix
        sub     rsp, 160
        xor     r12d, r12d
wait:   lea     rdi, [rip + signals]
        lea     rsi, [rsp + 16]
        xor     edx, edx
        mov     r10d, 8
        mov     eax, 128
        syscall
        cmp     eax, 10
        jne     1f
        mov     r12d, [rsp + 40]
        jmp     reap
1:      cmp     eax, 15
        jne     reap
        mov     edi, -1
        mov     esi, 9
        mov     eax, 62
        syscall
drain:  xor     edx, edx
        call    child
        jle     killed
        cmp     eax, r12d
        jne     drain
        call    tell
        jmp     drain
killed: mov     qword ptr [rsp], 0
        call    tell
        jmp     wait
reap:   mov     edx, 1
        call    child
        jle     wait
        cmp     eax, r12d
        jne     reap
        call    tell
        jmp     reap
child:  mov     edi, -1
        lea     rsi, [rsp + 12]
        xor     r10d, r10d
        mov     eax, 61
        syscall
        mov     [rsp + 8], eax
        test    eax, eax
        ret
tell:   mov     edi, 3
        lea     rsi, [rsp + 8]
        mov     edx, 8
        mov     eax, 1
        syscall
        ret
        .balign 8
signals: .quad  (1 << (17 - 1)) | (1 << (15 - 1)) | (1 << (10 - 1))
