{{/* The name of everything: the release's, unless that says what it is. */}}
{{- define "reflector-gpu.name" -}}
{{- if contains "reflector-gpu" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-reflector-gpu" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "reflector-gpu.selector" -}}
app.kubernetes.io/name: reflector-gpu
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "reflector-gpu.labels" -}}
{{ include "reflector-gpu.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "reflector-gpu.image" -}}
{{- $kind := ternary "cuda" "cpu" (gt (int .Values.gpus) 0) -}}
{{- $tag := .Values.image.tag | default (printf "%s-%s" .Chart.AppVersion $kind) -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}

{{/* The keys as text: `--set apikey=12345` gives a number. */}}
{{- define "reflector-gpu.apikey" -}}
{{- if kindIs "float64" .Values.apikey -}}
{{- fail "apikey is a number, which may have lost digits: put it between quotes." -}}
{{- end -}}
{{- .Values.apikey | toString -}}
{{- end -}}

{{/* Whether a volume can be used by one pod at a time. */}}
{{- define "reflector-gpu.for-one" -}}
{{- if and .Values.models.persistent (eq .Values.models.accessMode "ReadWriteOnce") -}}
models
{{- else if and .Values.data.enabled (eq .Values.data.accessMode "ReadWriteOnce") -}}
data
{{- end -}}
{{- end -}}

{{/* The secret with the key; empty where callers need none. */}}
{{- define "reflector-gpu.secret" -}}
{{- if .Values.existingSecret -}}
{{- .Values.existingSecret -}}
{{- else if include "reflector-gpu.apikey" . -}}
{{- include "reflector-gpu.name" . -}}
{{- end -}}
{{- end -}}

{{/* What would not work is said now, not when pods are pending. */}}
{{- define "reflector-gpu.check" -}}
{{- $open := or .Values.settings.REFLECTOR_TRUSTED_NETWORKS .Values.settings.REFLECTOR_INSECURE -}}
{{- if not (or (include "reflector-gpu.secret" .) $open) -}}
{{- fail "Clients need a key: set apikey or existingSecret, or settings.REFLECTOR_TRUSTED_NETWORKS for those who need none." -}}
{{- end -}}
{{- if and .Values.ingress.enabled .Values.settings.REFLECTOR_TRUSTED_NETWORKS (not .Values.settings.REFLECTOR_TRUSTED_PROXIES) -}}
{{- fail "Who comes through the ingress has an address of the cluster: name the controller's in settings.REFLECTOR_TRUSTED_PROXIES, or anybody may be trusted." -}}
{{- end -}}
{{- $several := or (gt (int .Values.replicas) 1) (and .Values.autoscaling.enabled (gt (int .Values.autoscaling.maxReplicas) 1)) -}}
{{- if and $several (eq (include "reflector-gpu.for-one" .) "models") -}}
{{- fail "Several replicas share the weights: set models.accessMode to ReadWriteMany, or models.persistent to false." -}}
{{- end -}}
{{- if and $several (eq (include "reflector-gpu.for-one" .) "data") -}}
{{- fail "Several replicas share the folder of jobs: set data.accessMode to ReadWriteMany, or data.enabled to false." -}}
{{- end -}}
{{- if and $several .Values.data.enabled (not .Values.secretVariables) -}}
{{- fail "Several replicas share jobs in PostgreSQL: name a secret with REFLECTOR_DATABASE_URL in secretVariables." -}}
{{- end -}}
{{- end -}}
