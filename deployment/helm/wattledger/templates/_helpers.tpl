{{- define "wattledger.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The release's name, and the chart's unless it is in it already. 52 letters leave room for suffixes. */}}
{{- define "wattledger.fullname" -}}
{{- $name := include "wattledger.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "wattledger.selector" -}}
app.kubernetes.io/name: {{ include "wattledger.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of yours first lose to those that selectors depend on. */}}
{{- define "wattledger.labels" -}}
{{- $own := include "wattledger.selector" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- toYaml (merge $own .Values.extraLabels) }}
{{- end }}

{{- define "wattledger.metadata" -}}
name: {{ include "wattledger.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "wattledger.labels" . | nindent 2 }}
{{- end }}

{{- define "wattledger.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "wattledger.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "wattledger.scheme" -}}
{{- ternary "HTTPS" "HTTP" (not (empty .Values.tls.secretName)) }}
{{- end }}

{{/* The configuration of the program: yours, the prices, and what the chart mounts. */}}
{{- define "wattledger.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if .Values.prices }}
{{- $config = mergeOverwrite $config (dict "transform" (dict "cost" .Values.prices)) }}
{{- end }}
{{- if .Values.tokens.secretName }}
{{- $config = mergeOverwrite $config (dict "web" (dict "tokens_file" (printf "/etc/wattledger-tokens/%s" .Values.tokens.key))) }}
{{- end }}
{{- if .Values.tls.secretName }}
{{- $config = mergeOverwrite $config (dict "web" (dict "config_file" "/etc/wattledger/web.yaml")) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- define "wattledger.size" -}}
{{- index (.Files.Get "files/sizes.yaml" | fromYaml) .Values.size | toYaml }}
{{- end }}

{{/* What an endpoint of a ServiceMonitor or a PodMonitor says. */}}
{{- define "wattledger.endpoint" -}}
port: http
path: /metrics
interval: {{ .Values.monitor.interval }}
{{- if .Values.tls.secretName }}
scheme: https
tlsConfig:
  ca:
    secret:
      name: {{ .Values.tls.secretName }}
      key: ca.crt
  serverName: {{ printf "%s.%s.svc" (include "wattledger.fullname" .) .Release.Namespace }}
{{- end }}
{{- with .Values.monitor.bearerTokenSecret }}
{{- if .name }}
authorization:
  credentials:
    name: {{ .name }}
    key: {{ .key }}
{{- end }}
{{- end }}
relabelings: # the alerts ask for this job
  - targetLabel: job
    replacement: wattledger
{{- end }}
