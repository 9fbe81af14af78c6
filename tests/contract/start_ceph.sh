#!/bin/bash
# A one-node Ceph with an S3 gateway on loopback: start_ceph.sh STATE_DIR [PORT]  (default: 7480)
#                                                 start_ceph.sh --stop STATE_DIR
#
# For tests: runs as root without systemd and keeps all its state and logs in STATE_DIR; when there is a stopped one
# there, it starts that again, on the port that it had. PORT + 1 is taken too. S3 keys: testkey / testsecret.
# Installs nothing; exits 3 and names the Debian packages when they are missing.
set -euo pipefail

ours() { grep -qs -- "$state/ceph.conf" "/proc/$1/cmdline"; } # a pid file may outlive its process
gone() { ! kill -0 "$1" 2> /dev/null; }

stop() { # newest first, so that each one's last writes find the one below
  local name pid
  for name in client.rgw osd.0 mon.a; do
    pid=$(cat "$state/run/ceph-$name.pid" 2> /dev/null) && ours "$pid" || continue
    kill "$pid"
    wait_until "$name to stop" gone "$pid"
  done
}

wait_until() { # WHAT COMMAND...: up to a minute
  for _ in $(seq 300); do "${@:2}" && return; sleep 0.2; done
  echo "start_ceph.sh: waited a minute for $1 in vain; see the logs in $state/log" >&2
  exit 1
}

if [ "${1:-}" = --stop ]; then state=$(cd "${2:?state directory}" && pwd); stop; exit; fi

missing=
command -v radosgw > /dev/null || missing+=" radosgw"
command -v ceph-mon > /dev/null || missing+=" ceph-mon"
command -v ceph-osd > /dev/null || missing+=" ceph-osd"
if [ -n "$missing" ]; then
  echo "Ceph is missing: RUNLEVEL=1 apt-get install -y --no-install-recommends$missing" >&2
  exit 3
fi

mkdir -p "${1:?state directory}"
state=$(cd "$1" && pwd)
export CEPH_CONF=$state/ceph.conf # for the tools; the daemons name it, so that `stop` knows them

created() { [ -f "$state/osd/ready" ]; } # the last file that the storage daemon's mkfs writes

if created; then port=$(cat "$state/port"); else port=${2:-7480}; fi
monitor=[v2:127.0.0.1:$((port + 1))]

write_config() {
  cat > "$CEPH_CONF" << CONF
[global]
fsid = $fsid
mon host = $monitor
public network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
keyring = $state/keyring
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon warn on pool no redundancy = false
mon data avail crit = 1
run dir = $state/run
admin socket = $state/run/\$cluster-\$name.asok
pid file = $state/run/\$cluster-\$name.pid
log file = $state/log/\$name.log
[mon]
mon data = $state/mon
mon cluster log file = $state/log/cluster.log
[osd]
osd data = $state/osd
osd objectstore = bluestore
bluestore block size = 20G
bluestore block create = true
bluestore block preallocate file = false
osd memory target = 1G
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw dns name = localhost
CONF
}

make_key() { ceph-authtool "$state/keyring" --gen-key "$@" > /dev/null; }

create_cluster() {
  rm -rf "$state"/{mon,osd,keyring}
  mkdir -p "$state"/{mon,osd,run,log}
  echo "$port" > "$state/port"
  fsid=$(cat /proc/sys/kernel/random/uuid)
  write_config
  touch "$state/keyring"
  make_key -n mon. --cap mon 'allow *'
  make_key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
  make_key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  make_key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx'
  monmaptool --create --clobber --fsid "$fsid" --addv a "$monitor" "$state/monmap" > /dev/null
  ceph-mon --mkfs -i a --monmap "$state/monmap" --keyring "$state/keyring"
}

create_osd() {
  local uuid
  uuid=$(cat /proc/sys/kernel/random/uuid)
  ceph osd new "$uuid" > /dev/null
  ceph-osd -i 0 --mkfs --osd-uuid "$uuid" > /dev/null 2> "$state/log/osd-mkfs.log"
}

osd_up() { ceph osd stat 2> /dev/null | grep -q '1 up'; }
gateway_up() { (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; }
user_exists() { radosgw-admin user info --uid test > /dev/null 2>&1; }

created || create_cluster
ceph-mon -c "$CEPH_CONF" -i a
created || create_osd
ceph-osd -c "$CEPH_CONF" -i 0 > /dev/null 2>&1
wait_until "the storage daemon" osd_up
radosgw -c "$CEPH_CONF" -n client.rgw
wait_until "the S3 gateway" gateway_up
user_exists || radosgw-admin user create --uid test --display-name test \
  --access-key testkey --secret-key testsecret > /dev/null
echo "http://127.0.0.1:$port"
