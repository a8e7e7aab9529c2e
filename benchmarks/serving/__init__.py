"""Pacer and its peers under the same open-loop load: `python -m benchmarks.serving --help`.

trace      what arrives when
peers/     the other servers, each in a process of its own
servers    how each server is started, and how it is asked
process    starting, watching and ending a server's process tree
client     the open loop: arrivals never wait for answers
figures    from what became of the requests to goodput, throughput and latencies
sweep      which measurements are made, in what order
results    the file that they are kept in
ratios     the figures that have a bar
report     the table and the picture
"""
