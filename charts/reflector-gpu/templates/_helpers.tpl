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

{{/* The secret with the key; empty where callers need none. */}}
{{- define "reflector-gpu.secret" -}}
{{- if .Values.existingSecret -}}
{{- .Values.existingSecret -}}
{{- else if .Values.apikey -}}
{{- include "reflector-gpu.name" . -}}
{{- end -}}
{{- end -}}

{{/* What would not work is said now, not when pods are pending. */}}
{{- define "reflector-gpu.check" -}}
{{- $open := or .Values.settings.REFLECTOR_TRUSTED_NETWORKS .Values.settings.REFLECTOR_INSECURE -}}
{{- if not (or .Values.apikey .Values.existingSecret $open) -}}
{{- fail "Clients need a key: set apikey or existingSecret, or settings.REFLECTOR_TRUSTED_NETWORKS for those who need none." -}}
{{- end -}}
{{- $several := or (gt (int .Values.replicas) 1) (and .Values.autoscaling.enabled (gt (int .Values.autoscaling.maxReplicas) 1)) -}}
{{- if and $several .Values.models.persistent (not .Values.models.existingClaim) (eq .Values.models.accessMode "ReadWriteOnce") -}}
{{- fail "Several replicas share the weights: set models.accessMode to ReadWriteMany, or models.persistent to false." -}}
{{- end -}}
{{- if and $several .Values.data.enabled (not .Values.secretVariables) -}}
{{- fail "Several replicas share jobs in PostgreSQL: name a secret with REFLECTOR_DATABASE_URL in secretVariables." -}}
{{- end -}}
{{- end -}}
