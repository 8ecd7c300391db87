// Owns the settings of the metadata store on etcd. Secrets are in files, so that no list of processes
// and no log shows them.

import {
  type ConfigOf,
  durationSetting,
  makeConfig,
  type Relation,
  textSetting,
} from '../base/config.ts'

export const ETCD_CONFIG = {
  prefix: textSetting(
    'lemnis/',
    'Before every key in etcd, so that it may serve several clusters.',
  ),
  callTimeoutMs: durationSetting(5000, 'A call to etcd that has no answer by then fails.'),
  memberTimeoutMs: durationSetting(
    1000,
    'How long one member of etcd is waited for before the next one is asked.',
  ),
  pauseMs: durationSetting(50, 'Pause after every member of etcd was asked in vain.'),
  watchProbeMs: durationSetting(
    2000,
    'A watch that heard nothing for this long asks whether its member is still there.',
  ),
  caFile: textSetting('', 'Certificates of the authority that etcd must show; turns TLS on.'),
  certificateFile: textSetting('', 'Certificate that etcd is shown, with TLS.'),
  keyFile: textSetting('', 'Private key of that certificate.'),
  user: textSetting('', 'User of etcd, where it asks for one.'),
  passwordFile: textSetting('', "File with the user's password, one line."),
}

export type EtcdConfig = ConfigOf<typeof ETCD_CONFIG>

const RELATIONS: readonly Relation<EtcdConfig>[] = [
  {
    holds: (c) => /^[!-~]*$/.test(c.prefix) && c.prefix.length <= 64,
    says: 'prefix must be printable ASCII without blanks, of at most 64 characters',
  },
  {
    holds: (c) => c.memberTimeoutMs > 0 && c.memberTimeoutMs <= c.callTimeoutMs,
    says: 'memberTimeoutMs must be above 0 and not above callTimeoutMs',
  },
  {
    holds: (c) => c.pauseMs > 0 && c.watchProbeMs > 0,
    says: 'pauseMs and watchProbeMs must be above 0',
  },
  {
    holds: (c) => (c.certificateFile === '') === (c.keyFile === ''),
    says: 'certificateFile and keyFile belong together',
  },
  {
    holds: (c) => c.certificateFile === '' || c.caFile !== '',
    says: 'certificateFile is used with caFile',
  },
  {
    holds: (c) => (c.user === '') === (c.passwordFile === ''),
    says: 'user and passwordFile belong together',
  },
]

export function etcdConfig(replaced: Partial<EtcdConfig> = {}): EtcdConfig {
  return makeConfig(ETCD_CONFIG, replaced, RELATIONS)
}
