import { root } from './state'

/** What a Prometheus needs to send here; a test holds it against the example that ships. */
export const block = () => `remote_write:
  - url: ${new URL('api/v1/write', root).href}
    write_relabel_configs:
      - source_labels: [__name__]
        action: keep
        regex: "kepler_node_.*joules_total|kepler_node_(cpu|gpu)_watts|kepler_(container|vm)_.*joules_total|kepler_container_gpu_watts|kepler_pod_cpu_joules_total|kube_pod_(info|owner|labels|annotations|container_info|init_container_info|container_resource_requests)|kube_(replicaset|replicationcontroller|job)_owner|kube_namespace_(labels|annotations)|kube_node_(info|labels)|DCGM_FI_DEV_(TOTAL_ENERGY_CONSUMPTION|POWER_USAGE)|dcgm_(total_energy_consumption|power_usage)|nvidia_smi_energy_joules_total|furiosa_npu_hw_power|rbln_npu_power|RBLN_DEVICE_STATUS:CARD_POWER|npu_chip_info_power|all_smi_energy_consumed_joules_total"
`
