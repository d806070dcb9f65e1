#!/usr/bin/env bash
# The first process of a box (box.py): in namespaces of its own it makes mounts, cgroups and network private, says 'ready' and lives until its
# standard input ends; then everything that was started in the box ends with it. A right that is missing is named on standard error, exit 77.
set -uo pipefail
group=$1 scratch=$2
lacks() { echo "$1" >&2; exit 77; }

if [ "$group" != inner ]; then # outside: a cgroup in every hierarchy, so that what is made below it can be found and removed
	for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
		[ -w "$h/cgroup.procs" ] || continue
		[ "$h" = /sys/fs/cgroup ] || mountpoint -q "$h" || continue
		mkdir -p "$h/$group" 2>/dev/null || lacks "cgroups cannot be made in $h"
		for f in cpuset.cpus cpuset.mems; do
			[ ! -e "$h/$group/$f" ] || cat "$h/$f" >"$h/$group/$f"
		done
		echo $$ >"$h/$group/cgroup.procs" || lacks "processes cannot be moved to a cgroup of $h"
	done
	exec unshare --mount --propagation private --net --pid --cgroup --fork --kill-child --mount-proc bash "$0" inner "$scratch"
fi

[ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified || lacks "the mixed cgroup hierarchy cannot be unmounted"
while read -r _ at type options _; do
	case $at:$type in
	/sys/fs/cgroup:cgroup2) # a group hands on its controllers only when it holds no process itself
		umount "$at" && mount -t cgroup2 cgroup2 "$at" || lacks "cgroup2 cannot be mounted"
		mkdir "$at/init" && echo 1 >"$at/init/cgroup.procs" || lacks "cgroup2 takes no groups"
		for controller in $(cat "$at/cgroup.controllers"); do echo "+$controller" >"$at/cgroup.subtree_control"; done
		;;
	/sys/fs/cgroup/*:cgroup)
		controller=${at##*/}
		[ "$controller" != systemd ] || controller=none,name=systemd
		umount "$at" && mount -t cgroup -o "$controller" cgroup "$at" || lacks "the cgroup hierarchy $at cannot be mounted"
		;;
	esac
done < <(cat /proc/self/mounts)
dns=$(cat /etc/resolv.conf)
mount -t tmpfs -o mode=0755 tmpfs /run || lacks "tmpfs cannot be mounted"
[ -e /etc/resolv.conf ] || { mkdir -p "$(dirname "$(realpath -m /etc/resolv.conf)")" && echo "$dns" >"$(realpath -m /etc/resolv.conf)"; }
mkdir -p /run/lock /run/netns
ip link set lo up || lacks "the loopback interface of a network namespace cannot be set up"
echo "ready $(awk '/^NSpid/ { print $2 }' /proc/1/status)"
while read -r _; do :; done
