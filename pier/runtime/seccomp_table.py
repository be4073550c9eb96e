"""The system calls a container may make: Pier's own list, by what they are for. Data only.

Made by going through the kernel's tables (arch/*/entry/syscalls, up to Linux 6.17) and asking of
each call whether it reaches beyond what namespaces and capabilities confine. Names, not numbers;
a name that an architecture or an old libseccomp lacks is skipped by the runtime.
"""

_PROCESSES = """
    arch_prctl capget capset execve execveat exit exit_group fork get_robust_list
    get_thread_area getcpu getegid geteuid getgid getgroups getitimer getpgid getpgrp getpid getppid
    getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid kill membarrier
    modify_ldt nice pause pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease
    restart_syscall rseq seccomp landlock_add_rule landlock_create_ruleset landlock_restrict_self
    set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer
    setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setuid sysinfo
    tgkill times tkill ugetrlimit umask uname vfork wait4 waitid waitpid
    getegid32 geteuid32 getgid32 getgroups32 getresgid32 getresuid32 getuid32 setfsgid32 setfsuid32
    setgid32 setgroups32 setregid32 setresgid32 setresuid32 setreuid32 setuid32
"""

_SCHEDULING = """
    ioprio_get ioprio_set sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield futex futex_time64 futex_waitv futex_wake futex_wait futex_requeue
"""

_SIGNALS = """
    alarm rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal signalfd
    signalfd4 sigpending sigprocmask sigreturn sigsuspend
"""

_MEMORY = """
    brk madvise map_shadow_stack memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
    mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
    remap_file_pages shmat shmctl shmdt shmget
"""

_FILES = """
    _llseek access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup
    dup2 dup3 faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr file_getattr file_setattr flistxattr
    flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
    ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat lchown lchown32 lgetxattr
    link linkat listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 mkdir
    mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2
    pwrite64 pwritev pwritev2 read readahead readdir readlink readlinkat readv removexattr
    removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice
    stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs
    tee truncate truncate64 unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write
    writev
"""

_WAITING = """
    _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
    epoll_wait epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 io_setup io_submit ioctl poll ppoll ppoll_time64 pselect6 pselect6_time64
    select
"""

_TALKING = """
    accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr
    mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 recv recvfrom recvmmsg recvmmsg_time64 recvmsg
    semctl semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto setsockopt
    shutdown socketcall socketpair
"""

_TIME = """
    adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getrandom gettimeofday nanosleep time
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64
"""

_DEBUGGING = " process_vm_readv process_vm_writev ptrace uretprobe uprobe "

ALLOWED = tuple(
    (
        _PROCESSES + _SCHEDULING + _SIGNALS + _MEMORY + _FILES + _WAITING + _TALKING + _TIME
        + _DEBUGGING
    ).split()
)  # fmt: skip
"""Always allowed, with any arguments."""

GATED: dict[str, tuple[str, ...]] = {
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_SYS_ADMIN": tuple(
        """bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie
        lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
        open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname
        setns statmount syslog umount umount2 unshare""".split()
    ),
    "CAP_BPF": ("bpf",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYSLOG": ("syslog",),
}
"""Allowed to a container that holds the capability."""

DENIED = tuple(
    """_sysctl add_key create_module get_kernel_syms io_uring_enter io_uring_register io_uring_setup
    kexec_file_load kexec_load keyctl migrate_pages move_pages nfsservctl pivot_root query_module
    request_key swapoff swapon sysfs uselib userfaultfd ustat vm86 vm86old""".split()
)
"""Known, and never allowed: EPERM. What neither list knows is newer than both: ENOSYS."""
