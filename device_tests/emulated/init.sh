#!/bin/busybox sh
# The first process of the emulated machine: mounts its two disks, runs one program, powers off.
# The job disk brings argv and environment (a line each) and takes back what is written to out/.
bb=/bin/busybox
$bb mount -t devtmpfs none /dev
$bb mount -t proc none /proc
$bb mount -t sysfs none /sys
for module in virtio virtio_ring virtio_mmio virtio_blk; do
    $bb insmod /modules/$module.ko
done
for disk in /sys/block/vd*; do  # their order is the emulator's, so go by their serials
    case $($bb cat $disk/serial) in
        root) root=/dev/${disk##*/} ;;
        job) job=/dev/${disk##*/} ;;
    esac
done
$bb mount -t ext4 -o ro,noatime $root /root || $bb poweroff -f
# sync: what the program wrote is on the disk whenever the machine stops
$bb mount -t ext4 -o sync,dirsync,noatime $job /root/job || $bb poweroff -f
$bb mount -t devtmpfs none /root/dev
$bb mount -t proc none /root/proc
$bb mount -t sysfs none /root/sys
set --
while IFS= read -r line; do set -- "$@" "$line"; done < /root/job/argv
while IFS= read -r line; do export "$line"; done < /root/job/environment
: > /root/job/out/stdout
# A file that nothing was written to yet has no inode on the disk before this, even so; without
# it, a machine that stops early looks like one that did not start.
$bb sync
$bb chroot /root "$@" >> /root/job/out/stdout
echo $? > /root/job/out/status
$bb umount /root/job
$bb poweroff -f
