# Sourced where several NVIDIA GPUs train together: XLA's flags with which their gradients are averaged while the rest is
# still being computed. What XLA_FLAGS has already comes after these and so wins. XLA ends a process at a flag that it does
# not know: these are known to jaxlib 0.10.2, the oldest that setup.cfg allows. Their gain has not been measured yet.
#
# The scheduler begins an all-reduce as soon as its operands are there and waits for it late; XLA leaves it off (0.10.2).
# XLA combines the gradients of layers up to 30 MiB before it sends them, which for a network of 11 million parameters is
# two pieces that are ready when nothing is left to hide them behind; of 8 MiB it is six, which still fill the links.
export XLA_FLAGS="--xla_gpu_enable_latency_hiding_scheduler=true --xla_gpu_all_reduce_combine_threshold_bytes=8388608 ${XLA_FLAGS:-}"
