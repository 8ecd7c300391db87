// Owns which settings each role has.

import { NBD_CONFIG } from '../../attach/config.ts'
import { CHUNKSERVER_CONFIG } from '../../chunkserver/config.ts'
import { CHUNKSTORE_CONFIG } from '../../chunkstore/config.ts'
import { CLIENT_CONFIG } from '../../client/config.ts'
import { HOST_CONFIG } from '../../copyset/config.ts'
import { MDS_CONFIG } from '../../mds/config.ts'
import { ETCD_CONFIG } from '../../platform/etcd-config.ts'
import { RAFTLOG_CONFIG } from '../../raftlog/config.ts'
import { RPC_CONFIG } from '../../rpc/config.ts'

export const MDS_TABLES = { mds: MDS_CONFIG, etcd: ETCD_CONFIG, rpc: RPC_CONFIG }

export const CHUNKSERVER_TABLES = {
  chunkserver: CHUNKSERVER_CONFIG,
  chunkstore: CHUNKSTORE_CONFIG,
  copyset: HOST_CONFIG,
  raftlog: RAFTLOG_CONFIG,
  rpc: RPC_CONFIG,
}

export const NBD_TABLES = { nbd: NBD_CONFIG, client: CLIENT_CONFIG, rpc: RPC_CONFIG }

export const ATTACH_TABLES = { client: CLIENT_CONFIG, rpc: RPC_CONFIG }
